"""Operations over a list."""

PEOPLE = [
    {"name": "Ada", "age": 36, "tags": ["math", "code"]},
    {"name": "Bob", "age": 25, "tags": []},
    {"name": "Cy", "age": 36, "tags": ["code"]},
    {"name": "Dot", "tags": ["math"]},
]


def names(result):
    return [record["name"] for record in result.data]
