# The CUDA engine, as far as it needs no GPU; src/encoder/cuda/test_cuda_engine.c has what does.
add_cmocka_test(NAME test_gpu_network SOURCES unit/test_gpu_network.c LIBS latentd_gpu latentd_kl_testing m)
if(TARGET test_cuda_engine)
	# An H100 is described to cuDNN, which must have algorithms for every kind of convolution.
	add_test(NAME gpu_proposals COMMAND test_cuda_engine proposals)
	# The checks of small models, in the host's memory: what a machine with a GPU is to run has been run.
	foreach(part goldens decoder)
		add_test(NAME gpu_${part}_on_host COMMAND test_cuda_engine ${part} ${CMAKE_SOURCE_DIR} host)
	endforeach()
endif()

# The plugin's interface without CUDA behind it.
add_library(host_plugin MODULE component/host_plugin.c)
set_target_properties(host_plugin PROPERTIES PREFIX "")
target_link_libraries(host_plugin PRIVATE latentd_gpu)
add_cmocka_test(NAME test_encoder_cuda SOURCES component/test_encoder_cuda.c LIBS latentd_encoder m)
foreach(test test_encoder_cuda test_engines test_engines_change)
	if(TARGET ${test})
		add_dependencies(${test} host_plugin)
	endif()
endforeach()

add_cmocka_test(NAME test_gpu_plan SOURCES unit/test_gpu_plan.c LIBS latentd_gpu latentd_base)
add_cmocka_test(NAME test_cuda_plugin_parts SOURCES unit/test_cuda_plugin_parts.c LIBS latentd_gpu latentd_base m)
add_fuzz_target(NAME fuzz_algo_cache SOURCES fuzz/fuzz_algo_cache.c LIBS latentd_gpu latentd_base)

# NVML's name, in a folder of its own.
add_library(fake_nvml MODULE component/fake_nvml.c)
set_target_properties(fake_nvml PROPERTIES PREFIX "" OUTPUT_NAME libnvidia-ml SUFFIX ".so.1"
	LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/fake_nvml)
add_cmocka_test(NAME test_busy_watch SOURCES unit/test_busy_watch.c LIBS latentd_gpu latentd_base)
if(TARGET test_busy_watch)
	add_dependencies(test_busy_watch fake_nvml)
	set_property(TEST test_busy_watch APPEND PROPERTY
		ENVIRONMENT "LD_LIBRARY_PATH=${CMAKE_CURRENT_BINARY_DIR}/fake_nvml")
endif()

# The engine's host side over a CUDA runtime that is made up; the headers are the toolkit's.
if(TARGET latentd_cuda_parts)
	set(cuda_sources ${CMAKE_SOURCE_DIR}/src/encoder/cuda)
	get_target_property(cuda_headers latentd_cuda_parts INTERFACE_SYSTEM_INCLUDE_DIRECTORIES)
	add_library(latentd_fake_cuda STATIC component/fake_cuda.c ${cuda_sources}/device_memory.c)
	target_include_directories(latentd_fake_cuda SYSTEM PUBLIC ${cuda_headers})
	target_link_libraries(latentd_fake_cuda PUBLIC latentd_gpu)
	add_library(latentd_gpu_engine_testing STATIC ${cuda_sources}/gpu_engine.c ${cuda_sources}/gpu_engine_open.c
		${cuda_sources}/part_plans.c ${cuda_sources}/part_slot.c)
	target_link_libraries(latentd_gpu_engine_testing PUBLIC latentd_fake_cuda)
	add_library(latentd_gpu_engine_rig STATIC component/gpu_engine_rig.c)
	target_link_libraries(latentd_gpu_engine_rig PUBLIC latentd_testing latentd_gpu_engine_testing latentd_base)
	foreach(name gpu_engine gpu_engine_memory)
		add_cmocka_test(NAME test_${name} SOURCES component/test_${name}.c LIBS latentd_gpu_engine_rig)
	endforeach()
	add_dependencies(test_gpu_engine fake_nvml)
	set_property(TEST test_gpu_engine APPEND PROPERTY
		ENVIRONMENT "LD_LIBRARY_PATH=${CMAKE_CURRENT_BINARY_DIR}/fake_nvml")
	# The kernels on the processor: launches become calls.
	enable_language(CXX)
	set(rewritten)
	foreach(file kernels kernels_norm kernels_softmax)
		set(out ${CMAKE_CURRENT_BINARY_DIR}/${file}_rewritten.inc)
		add_custom_command(OUTPUT ${out} DEPENDS ${cuda_sources}/${file}.cu
			COMMAND sed -E "s/([a-z_]+_kernel(<T>)?)<<<(.*), ([^,]*), 0, (stream)>>>[(]/launch(\\5, \\3, \\4, \\1, /"
				${cuda_sources}/${file}.cu > ${out}
			VERBATIM)
		list(APPEND rewritten ${out})
	endforeach()
	add_library(latentd_kernels_on_host STATIC component/kernels_on_host.cpp ${rewritten})
	set_source_files_properties(component/kernels_on_host.cpp PROPERTIES OBJECT_DEPENDS "${rewritten}")
	set_target_properties(latentd_kernels_on_host PROPERTIES CXX_STANDARD 17 COMPILE_OPTIONS "-O2;-Wall;-Wextra;-Wno-unknown-pragmas;-Wno-sign-compare")
	target_include_directories(latentd_kernels_on_host PRIVATE ${CMAKE_CURRENT_BINARY_DIR} ${cuda_sources})
	target_link_libraries(latentd_kernels_on_host PUBLIC latentd_fake_cuda)
	add_executable(test_kernels_on_host component/test_kernels_on_host.c ${cuda_sources}/test_cuda_kernels.c
		${cuda_sources}/test_cuda_pair.c ${cuda_sources}/cuda_testing.c ${cuda_sources}/device_cuda.c)
	target_link_libraries(test_kernels_on_host PRIVATE latentd_kernels_on_host m)
	add_test(NAME test_kernels_on_host COMMAND test_kernels_on_host)
	foreach(part conv_choice lt_product)
		add_library(latentd_${part}_testing STATIC ${cuda_sources}/${part}.c)
		target_link_libraries(latentd_${part}_testing PUBLIC latentd_fake_cuda)
		add_cmocka_test(NAME test_${part} SOURCES component/test_${part}.c LIBS latentd_${part}_testing
			latentd_base m)
	endforeach()
endif()
