"""Looking into networks: attention, cost, speed, and two networks side by side."""
