// /helpers/helper32: a program image of the other word size.
#include "guest/agent/image.h"

int main(int argc, char** argv) { return sealvisor::agent::image_main(argc, argv); }
