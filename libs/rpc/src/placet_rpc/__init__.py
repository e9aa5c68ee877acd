"""The one gRPC server and client builder of Placet."""
