"""What runs beside the pages: who computes where, and what is computed. No Streamlit.

Threads. Streamlit runs every rerun of a page in a thread of its own, often several of one person at once; it is there
to draw. What takes longer runs elsewhere:

- *Job workers* (`jobs`): what takes seconds to hours, and whatever changes memory or disk: opening, loading, scores,
  training, sweeps, exports. A queue a device, one job at a time, the worker its thread; it ends with the queue. Beside
  it a device has a queue for `loading` models, one for `text` and one for `reading` what is kept of a pair, so that
  none of these waits behind a training.
- *The live thread* (`live`): what a page waits for, a second or less: perplexities of the picks, and short calls that
  views hand to it (`lane.run`). One a device. Of what one tab asks only the last is measured. Where several tabs
  wait, a processor measures several picks at once, in threads of one core each, for a second or so at a time. It ends
  after half a second without work (`idle_thread`), since a thread that lives and once computed slows down the others.
- *The opening*: as the server starts, a thread imports everything and queues the embedded pair (`app/main.py`). Where
  findings are kept of a pair it opens without models. A *timer* has them loaded three seconds after the first page, and
  the live set read once (`open_pairs.warm_up`); a page that needs them before asks for that itself, and whoever else
  asks joins. At most three pairs are open; one makes room before another is opened, and its models are let go of.
- *Fits of probes* run in a pool of threads that compute on one core each, for the length of a job
  (`restorelcc.selection.probing`). A thread that begins in the milliseconds while such a pool does may get one core
  too; job workers set theirs anew.

Models are shared by all of them and never changed. What is put back lives in hooks that fire in the thread that set
them; who has to change a model copies it (`hf.twins.copied`), which is safe while others hook it.

Locks. Each is held to look something up or to note it, never while something is loaded, computed or drawn:

- `Jobs._lock`: queues, what runs, history. Who waits for a job waits for an event of its own (`Job.wait`).
- `Lane._lock`: what is measured, asked, wanted and queued. Within it a call may be queued, which takes the lock of the
  thread.
- `open_pairs._lock`, `scores._lock`: which pairs are open, which scores are known.
- `Once` (`restorelcc.progress`), of which a workspace has one for its models and one for its prefix: what is made, and
  by whom. Who asks meanwhile waits outside the lock, and sees how far it is.

A page's script may read all that is found of a pair; submit, find, cancel jobs, and wait a moment for one; ask the
live thread. It may use models once `feedback.models_there` says that they are in memory, for `lane.run` and for
products that take no time. It may not load models, run the engine's generators or a forward pass, nor wait for a job
to its end: the page would stand still, with nothing to say why.

What a visitor may name, use up and change on a server that others reach is asked of `allowed`, before it is done.

allowed: check_change, export_to, may_change, may_export
closer/: what closer looks compute
continuation: Asked, Continued, continued, MODELS
downloads: adapter, checkpoint, named, waiting
jobs: Job, jobs, State
launched/: trainings that processes beside the server do
lessons: check_merge, constant_share, Damage, damage, first_components, Lesson, MergeCheck, Plane, plane, pruning_job,
    recipe_at, SPARSITIES, STEPS, training_job, training_key
live: compared, lane, Measured, Superseded, unpicked
measured/: questions and speed of a run
neighbours/: methods held against each other, as a job
open_pairs: awaited, awaited_load, changed, loading, opening, seen, swapped, warm_up, workspace
scores: bounds_key, components_key, errors, foretold, key, known, missing, order, submit, submit_bounds,
    submit_components, table, there
sweeps: kept_of, newest, ordered, Plan, plan_of, results_of, seconds, start
training: go_on, goes_on, handed_to, start, Unkept
"""
