"""Files of ours on disk: whole or not at all, digests of them, locks that say who writes; what is in them others know.

digests: check_seal, seal
drafts: draft, held, is_held, remove
folders: check_csv, check_free, check_room, check_writable, is_of_disk, LITTLE, whole, write_csv,
    write_text
formats: FORMAT, plain, read_json, versions, write_json
"""
