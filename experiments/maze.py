"""Maze-Hard, 30 x 30: shortest paths, with self-attention (Table 4).

Paper: 85.3 % exact on 1,000 test mazes, 7M weights, trained on 1,000 mazes (arXiv 2510.04871); MLP mixer 0.0.
Cost: 65,104 steps at batch 768, 20 EFLOP; the original took 24 hours on four L40S, and one of them with batch
128 is said to do as well.

    trm train --config=maze --workdir=runs/maze \
        --config.data.train=train.csv --config.data.test=monitor.csv --config.train.eval_every=2000

The CSV files have the columns question and answer. The paper speaks of the 8 symmetries of the square; the public
dataset builder leaves them out unless told otherwise, and so does this. Of several shortest paths the public labels
show the one that a search meets first which looks down, left, right, up. A turned maze's label is then another than
that search would find in it, the network has to guess how each maze was turned, and exact matches suffer: one group
measured 85.1 % without and 10.1 % with the symmetries (91.6 and 22.0 where any shortest path counts). `trm eval` counts
those as "valid". The variant `symmetries` has them on, drawn afresh each time.
"""

from ml_collections import ConfigDict

from trm_jax.experiments import candidates, check_variant, fresh, smoke

VARIANTS = ("symmetries", "smoke")


def get_config(variant: str = "") -> ConfigDict:
    """The paper's hyperparameters; variant symmetries: of the square; smoke: tiny, with them, to test the machine."""
    check_variant(variant, *VARIANTS)
    config = ConfigDict(
        {
            "name": "maze",
            "model": {
                "vocab_size": 6,  # pad, wall, free, start, goal, path
                "seq_len": 900,  # cells S, 30 x 30
                "num_puzzles": 1,  # one row of the puzzle table for all mazes
                "width": 512,  # D
                "heads": 8,  # of the attention
                "expansion": 4.0,  # inner width of a SwiGLU, before its two thirds
                "layers": 2,  # blocks of the network
                "answer_layers": 0,  # blocks of a second network for y; 0: as many as layers
                "mixer": "attention",  # or "mlp"
                "puzzle": "",  # whose units the network is made of, where it is made of any
                "positions": "rope",  # or "learned", "none"
                "rope_theta": 10_000.0,  # of rotary positions
                "qk_norm": False,  # queries and keys of one size
                "gate": "silu",  # of feed-forwards: silu(g) * u; "normalised": sigmoid(g) * rms(g * u)
                "norm_eps": 1e-5,  # added to the mean square
                "puzzle_dim": 512,  # length of a row of the puzzle table
                "puzzle_tokens": 16,  # P, positions in front of the cells
                "states": "y_z",  # y_z, or z or y alone
                "latents": 1,  # K, how many z
                "winner_take_all": False,  # latents compete instead of being added up
                "separate_networks": False,  # True: one network for z, another for y
                "latent_steps": 4,  # n
                "cycles": 3,  # T
                "grad_cycles": 1,  # the last so many of the T cycles carry gradients
                "gradient": "cycles",  # exact; estimators: "one_step" (HRM's), "last_k", "implicit"
                "gradient_steps": 1,  # k of "last_k": through the last k latent steps
                "solver_tolerance": 1e-2,  # of "implicit": when its solver ends, relative
                "solver_steps": 30,  # of "implicit": when it ends at the latest
                "backprop_steps": 1,  # supervision steps in an optimiser step
                "supervision_steps": 16,  # N_sup
                "halt_by": "q_halt",  # "q_continue": halt at q_halt > q_continue, not > 0
                "exploration": 0.1,  # share of puzzles that may not halt before a drawn step
                "start_noise": 0.0,  # on the first y and z of a puzzle in training; 0: none
                "latent_noise": 0.0,  # on z before each supervision step in training
                "damping": 0.0,  # share of h that each application keeps
                "dtype": "bfloat16",  # of the computation; weights are float32
            },
            "memory": {  # what is kept for gradients: memory against time, and no result changes but by rounding
                "policy": "none",  # of latent steps: keep all; see trm_jax/recursion/policies.py; "auto": what fits
                "levels": 2,  # of "nested": on how many levels states are kept
                "repetitions": 2,  # of "binomial": how often a step is made at most, the first included
                "states": 0,  # of "binomial": how many are kept; 0: as few as the repetitions allow
                "outer_policy": "none",  # likewise, of cycles and supervision steps; not "auto"
                "micro_batches": 0,  # the whole step over so many parts of the batch; 0: as a CPU's cache wants, else 1
                "slices": 1,  # each network application over so many parts of the batch
                "device_memory": "",  # for "auto", as in "80GiB"; "": what the device has
            },
            "devices": {  # how the work is spread and handed out: no result changes but by rounding
                "data": 0,  # devices that share each batch; 0: all
                "weights": "replicated",  # whole on each device; "sharded": each holds a part
                "steps_per_call": 1,  # steps that the devices make in one go
                "puzzles": "auto",  # "resident" on each device, "streamed" from the host; "auto": what fits
                "attention": "auto",  # "cudnn" (fused), "xla"; "auto": fused where the device can
            },
            "loss": {
                "tokens": "stablemax",  # or "softmax"
                "continue_head": False,  # True: also train q_continue
                "smoothing": 0.0,  # share of a label that is spread over all tokens
                "halting": 0.5,  # weight of the halting losses
            },
            "candidates": candidates(),
            "optim": {
                "optimiser": "adam_atan2",  # or "adamw", "muon"
                "muon_ratio": 0.0,  # of "muon": the rate of matrices over that of all else; 0: of equal steps
                "clip": 0.0,  # of the gradients' norm; 0: none
                "learning_rate": 1e-4,  # of AdamATan2
                "warmup_steps": 2_000,  # linear
                "min_ratio": 1.0,  # of the rate at the end; 1: constant after the warm-up
                "beta1": 0.9,
                "beta2": 0.95,
                "weight_decay": 1.0,  # times the rate, each step, on every tensor
                "atan2_form": "original",  # "debiased": both moments corrected, times 1.27
                "puzzle_learning_rate": 1e-4,  # of sign-SGD on the puzzle table
                "puzzle_weight_decay": 1.0,  # of the rows that a batch uses
                "ema_decay": 0.999,  # of the weights that are evaluated; 0: none
                "ema_start": 0,  # step after which it begins
                "weight_dtype": "float32",  # to which trained weights are rounded
            },
            "data": {
                "puzzle": "maze",  # how cells read, and which symmetries hold
                "train": "",  # CSV, or a folder in the public dataset format
                "test": "",  # path; "": no evaluation while training
                "columns": "",  # of tables, as "QUESTION,ANSWER"; "": the usual names
                "augment": False,  # the 8 symmetries of the square: see above
                "reveal": 0.0,  # share of blanks that are filled from the answer at first; 0: none
                "reveal_share": 1.0,  # of the steps, over which that falls to none
                "forms": 0,  # of ARC tasks; unused
                "side": 9,  # of generated Sudokus; unused
                "train_puzzles": 0,  # to generate; unused
                "test_puzzles": 0,  # to read at most; 0: all
            },
            "init": fresh(),
            "train": {
                "steps": 65_104,  # 50,000 epochs of 1,000 mazes
                "batch_size": 768,  # puzzles
                "seed": 0,
                "log_every": 100,  # steps
                "eval_every": 0,  # steps; 0: never, needs data.test
                "eval_batch_size": 768,  # puzzles
                "eval_calls": 64,  # of models of candidates; unused
                "patience": 0,  # evaluations without a better one, after which the run ends; 0: never
                "save_every": 1_000,  # steps
                "keep_checkpoints": 2,
                "bad_steps": 10,  # in a row with non-finite numbers, at which the run ends
                "freeze": "",  # parts of the weights that stay as they are
                "curriculum": "",  # depth that grows while training
            },
        }
    )
    config.data.augment = bool(variant)
    if variant == "symmetries":
        config.name = "maze_symmetries"
    return smoke(config) if variant == "smoke" else config
