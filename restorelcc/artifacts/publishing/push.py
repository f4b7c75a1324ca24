"""An export, uploaded to the Hugging Face hub with its card."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, get_token

from ...errors import SettingError, WriteError
from ...foreign import foreign
from ...hf import hub

NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def check_push(name: str) -> None:
    """Before the work whose result is to go there. Raises SettingError for what is no owner/name, WriteError where
    there is no token, or no hub."""
    if NAME.fullmatch(name) is None or ".." in name:
        raise SettingError(f"'{name[:100]}' is no name on the hub: give OWNER/NAME.")
    if not get_token():
        raise WriteError(f"Nobody is logged in to upload {name}: set HF_TOKEN to a token that may write.")
    if not hub.reachable():
        raise WriteError(f"{name} cannot be uploaded: the Hugging Face hub cannot be reached. Connect, and try again.")


def push(folder: Path, name: str, private: bool = True) -> str:
    """Upload all files of a folder, as one commit, into a model repository, which is made where there is none; returns
    its address. private: a new one is seen by its owner alone; one that is there stays as visible as it is.

    Raises SettingError and WriteError; the folder stays as it is.
    """
    check_push(name)
    api = HfApi()
    with foreign(lambda reason: WriteError(f"{name} was not uploaded ({reason}). It is in {folder}: nothing is lost.")):
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload by RestoreLCC Studio")
    return str(address)
