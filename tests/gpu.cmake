# The CUDA engine, as far as it needs no GPU; src/encoder/cuda/test_cuda_engine.c has what does.
add_cmocka_test(NAME test_gpu_network SOURCES unit/test_gpu_network.c LIBS latentd_gpu latentd_kl_testing m)
if(TARGET test_cuda_engine)
	# An H100 is described to cuDNN, which must have algorithms for every kind of convolution.
	add_test(NAME gpu_proposals COMMAND test_cuda_engine proposals)
endif()
