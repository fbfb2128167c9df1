"""Schemas that the tests of several wire formats send."""

ROWS = {
    "type": "object",
    "properties": {
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"level": {"enum": ["a", "b"]}, "note": {"type": ["string", "null"], "minLength": 2}},
                "required": ["level", "note"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["rows"],
    "additionalProperties": False,
}
