"""Many tenants on one base: adapters in versions, mixed batches, an engine, an HTTP server, and what goes
wrong between tenants.
"""
