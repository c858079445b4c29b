"""Long work on many images: read part by part, interrupted and resumed, shared by processes. Knows files and names.

`commands` says which commands there are and works their jobs through, `ledger` is the folder that holds what is done,
`restore_job` and `degrading` say what is done with a part, `sources` and `measurements` are where items come from.
"""
