"""The Compare page: runs side by side, and one of them tried on text beside the two models it stands between.

continuation: section
curves: by_size, by_step
damaged: section
filters: section
measured/: tasks, speed
neighbours/: methods against each other
one_run: gone, in_view
pair_of_run: about, pair_of
table: listed, section
token_by_token: token_by_token
trash: delete, way_back
"""
