"""Many tenants on one base: adapters in versions, mixed batches, a batcher, an HTTP server, and what goes
wrong between tenants.
"""
