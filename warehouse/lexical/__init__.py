"""Finding adapters by the words of a prompt: what adapters and their example prompts say, in one inverted index.

A sentence embedding knows what words mean and forgets which they were. The prompt that somebody writes for an adapter
is made of trigger words, names and turns of phrase that stand just so in the adapter's other prompts, and an inverted
index finds those. `tokens` says what is looked for, `index` reads and writes the files, `publishing` makes a generation
of them, `searching` follows the current one, `fusion` says what a score is worth beside a similarity.

Does not belong here: the search box of the library (`warehouse.queries.matching`), which must find what was typed and
nothing else, in the same transaction; and explanations (`serving`).
"""
