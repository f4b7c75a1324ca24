"""What pruning took from every head: streamed statistics of the differences of head activations, their components, and
ways to look at one head (in a plane, over a passage, in the vocabulary).

components: components, LostComponents
head_loss: head_loss, HeadLoss, METRICS
one_at_a_time: capture_one_at_a_time
passage: lost_along, read_passage, Reading
plane: Points, project, Projection
recoverable: Recoverable, recoverable
statistics: capture, Captured, HeadStatistics, MEANS, Positions, Samples
vocabulary: context, in_context, Moment, strongest_moments, strongest_words, vocabulary_effect, written_alike
"""
