"""A Plan for people: in numbers, and as a drawing."""
