"""Models of requests and answers: what is accepted, and what the OpenAPI document promises, with examples.

Answers of lists are written by msgspec straight from rows (`encoding`), since validating a hundred adapters again would
cost more than reading them; tests hold every such answer against its model here.
"""
