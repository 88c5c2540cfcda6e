add_test(NAME check_layers COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_layers.sh ${CMAKE_SOURCE_DIR})
add_test(NAME check_layers_selftest COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_layers_selftest.sh)
