"""Which heads and components to put back: scores that rank them, and the selection that a person edits.

joint_effect: together
measured_effect: of_components, of_heads, Trial, tried
own: own_file, own_score, OwnScore
picks: check_share, everything, is_shape, of_heads, Pick, random_heads, random_score, Selection, Shape, share_of_heads,
    top_components, top_heads, within_budget
predicted_effect: longest_rate, on_distance, on_loss, PredictedEffect, Slopes, SLOPES,
    slopes_of
probing: Probing
scores: CAPTURE, captured, closer, computed, Measure, offered, Score, ScoreInputs, SCORES
scoring: HeadScore, read, result_of, score_heads
"""
