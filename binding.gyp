{
  # node-gyp and prebuildify look for this file. CMake does the build (CMakeLists.txt); nothing is listed here twice.
  "targets": [
    {
      "target_name": "branch_train_stitch",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(PRODUCT_DIR)/branch_train_stitch.node"],
          "action": [
            "node",
            "<!(node -p \"require.resolve('cmake-js/bin/cmake-js')\")",
            "compile",
            "--directory", "<(module_root_dir)",
            "--out", "<(module_root_dir)/build/cmake"
          ]
        }
      ]
    }
  ]
}
