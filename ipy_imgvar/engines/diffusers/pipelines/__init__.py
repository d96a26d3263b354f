"""What a request becomes for a pipeline of diffusers: its class, its arguments, its steps, and the weights in memory."""
