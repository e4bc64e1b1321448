"""The screens: Streamlit on :mod:`appliance.client` alone. They know no database and no column of any machine."""
