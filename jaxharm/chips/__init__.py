"""Programs for machines that are not here: made by the chips' own compilers, and read.

`targets` names the machines, `step` compiles a training step for one, `program` reads what the
compiler made of it. Nothing of it runs: what the compiler estimates is called an estimate.
"""
