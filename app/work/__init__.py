"""What runs beside the pages: the job queue, the live perplexity, open pairs, and the work behind each page.
No Streamlit.

jobs: Job, jobs, State
lessons: check_merge, MergeCheck, Plane
live: lane, Measured, Superseded, unpicked
sweeps: Plan
"""
