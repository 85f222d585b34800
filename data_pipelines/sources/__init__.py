"""Builders of the data sets, and the reader of what they build."""

from data_pipelines.sources.reading import (
    BuiltInfo,
    RecordSource,
    built_path,
    dataset_info,
    list_built,
    open_source,
    resolve_data_dir,
)

__all__ = [
    "BuiltInfo",
    "RecordSource",
    "built_path",
    "dataset_info",
    "list_built",
    "open_source",
    "resolve_data_dir",
]
