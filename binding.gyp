{
  # For node-gyp, where somebody calls it. CMake does the build (CMakeLists.txt); nothing is listed here twice.
  "targets": [
    {
      "target_name": "branch_train_stitch",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(PRODUCT_DIR)/branch_train_stitch.node"],
          "action": ["npm", "--prefix", "<(module_root_dir)", "run", "build:native"]
        }
      ]
    }
  ]
}
