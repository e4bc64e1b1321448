from appliance.api.serve import main

main()
