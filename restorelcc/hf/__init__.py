"""What Hugging Face models look like inside: where their heads, matrices and norms are, and how a model is built from
another's tensors. The only wing that names a module of Transformers' models.

config: check_generation, culprit, differences, settle, strange, try_out
failures: advice, out_of_memory, RAN_OUT
families: FAMILIES, needs_start, RUNTIMES
identity: check_agreement, other_setting, settings, weights_digest
layout: attention_norm, cache_bytes, context_length, decoder_layers, device_of, final_norm, geometry, HeadGeometry,
    hooked, layers_with_heads, mlps, note_loading, output_projections, remarks, residual_scale, run_until_stop, Stop,
    stored_in, unembedding, vocabulary_size
narrow: CHANNELS_END, channels_of, check_narrowing, head_weights, HEADS_END, kept_heads, Narrowing, rebuilt, rows,
    pruning_record, shrink, with_kept_heads
overflow: check_finite, overflow, place_of
slices: Reach, Sliced, sliced
twins: Attended, copied, layer_inputs, showing_attention, StandIn, takes_value_biases, watching_attention, with_layers,
    with_output_biases, with_value_biases, with_weights
weights: come_from, embedding_of, expert_activation, is_spread, is_visited, Matrix, parameter_bytes, prunable, shape_of,
    tied_names, untied, value_of, values_of, weight_of
"""
