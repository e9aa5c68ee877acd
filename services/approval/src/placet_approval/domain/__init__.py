"""The rules of intake, reading and deciding; pure: no grpc, no pb2, no database."""
