"""Controls, messages and progress that several pages draw.

controls: by_head, figure, metric, mirrored, selected_points
feedback: ARRIVALS, bar, cancel_button, doing, empty, GLANCE, guarded, models_there, pause, progress, refused, running
head_chooser: by_number, by_rank
passages: chosen, text_of, written
reports: button
tinted: show, Token
"""
