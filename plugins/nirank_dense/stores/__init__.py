"""Search in vector stores: PostgreSQL with pgvector, and Milvus."""
