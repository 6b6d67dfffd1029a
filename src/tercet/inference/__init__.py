"""What a trained Bundle is used for: searching one's images, a service, other runtimes. May use evaluation."""
