"""Many runs: what a protocol needs, what of it is done, and who runs the rest.

catalogue.py   methods, data sets, and what each protocol runs a method with (configs/protocols.txt)
run.py         a run as a value: its folder, its words for train.py, what it needs
protocols.py   base-to-new, cross-dataset, few-shot, the paper's tables: lists of runs
state.py       what of a run is there, judged by its settings
fit.py         from a folder of photos to a classifier
checks.py      what is wrong with a plan, before hours of work
local.py       a pool of processes on this machine
slurm.py       the plan as jobs of SLURM: slurm_queue.py its commands, clusters.py what a cluster asks for
parsl_pool.py  a pool of Parsl's; guard.py ends what it leaves behind
one.py         the process of one run
scripts.py     the names and environment variables of scripts/

    python -m experiments base2new --data-sets eurosat dtd --methods coop maple --plugins dpc --plan

Nothing here imports torch: a plan is there at once.
"""
