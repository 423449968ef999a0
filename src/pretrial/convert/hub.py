"""Putting an exported folder on the Hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pretrial.errors import UserError

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def check_hub(name: str) -> Any:
    """Makes sure that something can be put on the Hub, before any work is done.

    Args:
        name: of the repository, such as me/my-model.

    Returns:
        A `huggingface_hub.HfApi` that is logged in.

    Raises:
        UserError: the name is none, the Hub cannot be reached, or nobody is logged in.
    """
    from huggingface_hub import HfApi, constants

    if not _NAME.fullmatch(name):
        raise UserError(f"--push-to-hub {name!r} is no name on the Hub: give one like me/my-model")
    if constants.HF_HUB_OFFLINE:
        raise UserError(
            "--push-to-hub needs the Hub, and HF_HUB_OFFLINE is set: unset it, or leave the option"
            " out and upload the folder later"
        )
    api = HfApi()
    try:
        api.whoami()
    except Exception as error:  # of the network or of the login: the library has many kinds
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"--push-to-hub cannot log in to the Hub ({first}): run `hf auth login` or set"
            " HF_TOKEN, or leave the option out and upload the folder later"
        ) from error
    return api


def push(api: Any, folder: Path, name: str) -> str:
    """Uploads a folder; the repository is made, private, where there is none.

    Args:
        api: as `check_hub` gave it.
        folder: of the export.
        name: of the repository.

    Returns:
        The address of the repository.

    Raises:
        UserError: it could not be uploaded; the folder is whole.
    """
    try:
        made = api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=made.repo_id)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"{folder} holds the model, but the Hub did not take it ({first}): run `hf upload"
            f" {name} {folder}` once it does"
        ) from error
    return str(made)
