"""From words to a `Cond`: `tokenizer` cuts a prompt into numbers, `encode` reads them with a text encoder."""
