"""The speed of fastnn over time. Names of classes, methods and parameters are the keys of its history."""
