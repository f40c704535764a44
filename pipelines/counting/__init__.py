"""The arithmetic of counting: pure functions over blocks, without Kafka, Faust or a clock."""
