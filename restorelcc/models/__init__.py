"""A dense model and its pruned partner: loading them from the hub or a folder, checking that they are a pair, telling
which heads of a narrower model are which, and whether both fit into memory.

loading: DEMO, DEMO_FOLDER, DISK, DTYPES, load_model, load_tokenizer, Loading, MAP, SHARD, source_of
matching: fewer_heads, KEPT_FILE
memory: activation_bytes, check_fits, free_at, free_bytes, let_go, model_bytes, Peak, placed, too_big
pair: load_pair, ModelPair, OneAtATime, paired, skeleton_pair
"""
