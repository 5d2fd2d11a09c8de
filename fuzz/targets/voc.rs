#![no_main]

resnet_rs_fuzz::target!(voc);
