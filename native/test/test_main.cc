// Entry of native_tests.
#include "test_framework.h"

int main(int argc, char** argv) { return vitrine::test::run_tests(argc > 1 ? argv[1] : ""); }
