"""A study written out as files for a shell, for Slurm or for Kubernetes, instead of being run.

Every file runs `jaxharm study ... --job N`: one run of the plan, which is skipped where it is
finished. So all of them may be started again at any time.
"""
