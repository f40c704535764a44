"""The stream processing: pure functions, and the Faust app that calls them."""
