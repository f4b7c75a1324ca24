"""Work of the closer looks on the Heads page: jobs, and what they found; pairs to compare with. No Streamlit.

found: after_work, depth_work, InPlace, key, submit, windows_work
other_pairs: named, others
"""
