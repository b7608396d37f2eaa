"""What makes a bundle: training, fine-tuning, refitting, calibration, quantisation, export."""
