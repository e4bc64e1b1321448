"""What a broken rule is called, and what to do about it, in words. Pure."""

from __future__ import annotations

from appliance.batches import CUT_OFF, TOO_FEW, TOO_MANY, UNMENDED, UNSOUND
from appliance.cells import MAX_TEXT
from appliance.decoding import TITLES
from appliance.profile import Column, Profile

# (rule, sentence) of a row that is damaged as a whole.
DAMAGE = {
    TOO_FEW: ("cells", "The row has too few cells"),
    TOO_MANY: ("cells", "The row has too many cells"),
    UNSOUND: ("cells", "The row holds a quote that does not close, or a line end inside a cell"),
    CUT_OFF: ("cut_off", "The file ends in the middle of this row"),
    UNMENDED: ("cells", "The cell _mend is not empty: empty it once the row is put right"),
}

ADVICE = {
    "not_null": "Fill in the cell, or look why the machine wrote none.",
    "type": "Write the value as the machine does elsewhere in this column, without unit or thousands separator.",
    "not_finite": "A sensor gave no value: fill it in or delete the row.",
    "range": "Check the sensor and its unit. Where the value is real, the profile's range has to be widened.",
    "category": "Use one of the names that the profile knows, or add the new one to the profile.",
    "pattern": "Check the cell for typing errors.",
    "cells": "Put the cells under their columns; a cell that holds the separator needs quotes. Then empty _mend.",
    "cut_off": "The copy was interrupted: complete the row or delete it. Then empty _mend.",
    "encoding": "Replace the characters that cannot be read, or export in the encoding that the profile names.",
    "duplicate_row": "Delete the row, or drop it again alone if it is a second reading.",
    "time": "Write the time as in the example; an hour that a clock change skips does not exist.",
    "machine": "Name the machine: in the row, or by the folder or file name, as the profile says.",
    "formula": "Remove the sign at the beginning: a spreadsheet would run the cell.",
    "missing_column": "Add the column, or name it in the profile's aliases if it is there under another name.",
    "extra_column": "Nothing: the column is ignored. Add it to the profile if it matters.",
}


def words(profile: Profile, rule: str, column: Column | None) -> str:
    """What is wrong with a cell of the column, or with the row where there is none."""
    match rule:
        case "not_null":
            return "empty"
        case "not_finite":
            return "not a finite number"
        case "range" if column is not None:
            return _range(column)
        case "category" if column is not None:
            return f"not one of {', '.join(column.categories)}"
        case "pattern" if column is not None:
            return f"does not look like {column.example}" if column.example else "does not have the agreed form"
        case "type" if column is not None:
            return _type(profile, column)
        case "time":
            like = f"like {column.example}" if column is not None and column.example else "in the agreed form"
            return f"no time {like} (in JSON: ISO 8601 with its zone)"
        case "machine":
            return "no name of a machine"
        case "encoding":
            return f"holds characters that are no {TITLES[profile.file.encoding]}"
        case "formula":
            return "starts like a formula"
        case "missing_column":
            return "the column is missing"
        case "extra_column":
            return "not a column of the profile"
        case "duplicate_row":
            return "The same as an earlier row of the file"
        case "cells":
            return "The cells of the row do not fit the header"
        case "cut_off":
            return DAMAGE[CUT_OFF][1]
        case _:
            return rule


def _range(column: Column) -> str:
    unit = f" {column.unit}" if column.unit else ""
    if column.maximum is None:
        return f"below {column.minimum:,.12g}{unit}"
    if column.minimum is None:
        return f"above {column.maximum:,.12g}{unit}"
    return f"outside of {column.minimum:,.12g} to {column.maximum:,.12g}{unit}"


def _type(profile: Profile, column: Column) -> str:
    if column.type == "boolean":
        return "not one of 0, 1, true, false"
    if column.type == "integer":
        return "not a whole number"
    if column.type == "number":
        return "not a number with a decimal comma" if profile.file.decimal == "," else "not a number"
    return f"not text of up to {MAX_TEXT:,} characters without control characters"
