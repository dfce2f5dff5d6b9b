"""ARC-AGI-1 with self-attention, trained on all its demonstrations and on ConceptARC (Table 5).

Paper: 44.6 % of the 400 evaluation tasks within two tries, 7M weights (arXiv 2510.04871). MLP mixer: 29.6.
Cost: 518,226 steps at batch 768, 158 EFLOP; the original took three days on four H100. Variant n6: 1.4 times.

    trm data arc data/arc1 --prefix arc-agi --subsets training,evaluation,concept --test evaluation --overlap keep
    trm train --config=arc1 --workdir=runs/arc1 --config.data.train=data/arc1
    trm eval runs/arc1 data/arc1 --submission=submission.json

Variants: "" has n = 4 latent steps, as in the original's command; "n6" has the 6 of the paper's text
(`--config=arc1:n6`). A reproduction found 43.0 with 4 and 52.8 with 6. "smoke": tiny, for tests of the
machine.

The data is a folder in the public dataset format. Its 960 tasks (400 training, 400 evaluation, 160
ConceptARC) with up to 1,000 augmentations each make 876,406 identifiers: a puzzle table of 449M entries.
Two evaluation tasks are among the training tasks under another name; `--overlap keep` leaves them there, as the
original does, `--overlap drop` takes them out of training.

The forms of a task need not be stored. With `--augmentations 0` for the first command, and for the second
`--config.data.forms=1000 --config.data.augment=True`, they are drawn inside the step, from a folder of 10 MB
instead of 7.3 GB; there are 960,961 identifiers then, since those of a simple task that look alike are kept.
`augment` moves grids about the board, each time anew, a quarter of them to the top left, where test grids lie. The
original moves each once and for all, and leaves one example of each identifier there.

Steps: int(epochs * tasks * examples / batch) with 100,000 epochs, 960 tasks, and 4.1458 training examples an
identifier on average. That mean is ours: we counted the examples of each task, weighted by the number of
different augmentations that it can be expected to have, since simple tasks have fewer than 1,000. A
folder's own dataset.json has the exact numbers, which another draw of the augmentations changes slightly.
"""

from ml_collections import ConfigDict

from trm_jax.experiments import candidates, check_variant, fresh, smoke

VARIANTS = ("n6", "smoke")


def get_config(variant: str = "") -> ConfigDict:
    """The hyperparameters of the original's command; variant n6: those of the paper's text; variant smoke: tiny."""
    check_variant(variant, *VARIANTS)
    config = ConfigDict(
        {
            "name": "arc1",
            "model": {
                "vocab_size": 12,  # pad, end marker, 10 colours
                "seq_len": 900,  # cells S, 30 x 30
                "num_puzzles": 0,  # 0: from the data; 876,406 identifiers
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
                "latent_steps": 4,  # n; 6 in the variant "n6"
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
                "weight_decay": 0.1,  # times the rate, each step, on every tensor
                "atan2_form": "original",  # "debiased": both moments corrected, times 1.27
                "puzzle_learning_rate": 1e-2,  # of sign-SGD on the puzzle table: 100 times the weights'
                "puzzle_weight_decay": 0.1,  # of the rows that a batch uses
                "ema_decay": 0.999,  # of the weights that are evaluated; 0: none
                "ema_start": 0,  # step after which it begins
                "weight_dtype": "float32",  # to which trained weights are rounded
            },
            "data": {
                "puzzle": "arc",  # grids of ten colours
                "train": "",  # folder in the public dataset format
                "test": "",  # its folder again; "": no evaluation while training
                "columns": "",  # of tables, as "QUESTION,ANSWER"; "": the usual names
                "augment": False,  # the folder holds 1,000 augmentations of each task already
                "reveal": 0.0,  # share of blanks that are filled from the answer at first; 0: none
                "reveal_share": 1.0,  # of the steps, over which that falls to none
                "forms": 0,  # of each task, drawn as they are needed; 0: those in the folder
                "side": 9,  # of generated Sudokus; unused
                "train_puzzles": 0,  # to generate; unused
                "test_puzzles": 0,  # to read at most; 0: all
            },
            "init": fresh(),
            "train": {
                "steps": 518_226,  # 100,000 epochs; see above
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
    if variant == "n6":
        config.name = "arc1_n6"
        config.model.latent_steps = 6
    return smoke(config) if variant == "smoke" else config
