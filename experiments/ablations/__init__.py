"""The paper's Tables 1, 2 and 3 on Sudoku-Extreme, row by row, as changes of sudoku_mlp.

file                        paper, %
../sudoku_mlp               87.4       the base
continue_head               86.1       a continue head, trained by one more supervision step
separate_networks           82.4       one network for z, another for y
no_ema                      79.9       no weight average
four_layers                 79.5       four layers, n = 3
../sudoku_attention         74.7       attention in place of the MLP mixer
shallow_recursion           73.7       T = 2, n = 2
one_step_gradient           56.5       gradients through the last steps only
hrm                         55.0       the Hierarchical Reasoning Model
six_latents                 77.6       Table 2
single_latent               71.9       Table 2
latent_steps_and_cycles     ...        Table 3, a variant for each row
direct                      0.0        the one-pass baseline
recipe                      -          what others changed, a variant for each switch
"""
