"""What the command `trm` tells whoever called it when it ends; errors have theirs (trm_jax/errors.py)."""

# NOT_SURE: there is an answer, and not as sure a one as was asked for. RESUME_ME is EX_TEMPFAIL: whoever started the
# run may start it again, and it goes on.
DONE, FAILED, BAD_INPUT, NOT_SURE, RESUME_ME = 0, 1, 2, 3, 75
