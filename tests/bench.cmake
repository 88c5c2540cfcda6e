# Benchmarks: built with the tests, run by hand; docs/benchmarks.md has commands and figures.
foreach(bench vae pixels seal resample)
	add_executable(bench_${bench} bench/bench_${bench}.c)
	target_include_directories(bench_${bench} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
endforeach()
target_link_libraries(bench_vae PRIVATE latentd_vae)
target_link_libraries(bench_pixels PRIVATE latentd_image)
target_link_libraries(bench_seal PRIVATE latentd_storage)
target_link_libraries(bench_resample PRIVATE latentd_image)
