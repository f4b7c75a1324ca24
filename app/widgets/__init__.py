"""Controls, messages and progress that several pages draw.

beside: chosen, workspace_of
computing: asked, still_lost
controls: by_head, figure, metric, mirrored, selected_points
feedback: ARRIVALS, bar, cancel_button, doing, empty, GLANCE, guarded, models_there, pause, progress, refused, running
head_chooser: by_number, by_rank
in_place: chosen
neighbours: about, picture, switch, table
passages: chosen, fitted, text_of, written
reports: button
tinted: show, Token
"""
