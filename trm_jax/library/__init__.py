"""The library: what `import trm_jax as trm` offers, promised to stay.

It reads what people have (text, digits, lists, arrays), checks it, calls downwards, and hands back plain arrays that
show themselves in a notebook. The command line knows it; nothing below does.
"""
