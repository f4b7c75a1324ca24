"""The Compare page: runs side by side, and one of them tried on text beside the two models it stands between.

continuation: continuation
curves: curves, sizes
damaged: listed
one_run: in_view
pair_of_run: about, pair_of
table: listed, table
token_by_token: token_by_token
trash: delete, way_back
"""
