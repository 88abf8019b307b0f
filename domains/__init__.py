"""The programs that run in domains: dom0's, the driver domains', the guests'."""
